"""Unsupervised pre-training again: ten times the updates, longer fine-tuning, fresh seeds.

Run:     python -m src.main --config=configs/pretraining_long.py --config.study=labels_2000
Studies: labels_2000, labels_50000: no pre-training, auto-encoder and RBM with so many labels, as
         many of each class. all, the default, runs both. Each has a folder.
Result:  experiments/pretraining_long/, drawn by python -m experiments.pretraining.figures
         runs/pretraining_long --out experiments/pretraining_long
Source:  Krizhevsky, Sutskever & Hinton (2012), section 1; Paine et al. (2014) train a first layer
         for 2000 updates.
Size:    configs/pretraining.py with 2000 updates of each convolution in place of 200, 60 epochs in
         place of 20 with 2000 labels and 12 in place of 8 with all, rates a factor of two apart in
         place of four, and five fresh seeds, none of which that study had. For a GPU, or hours of
         a CPU.

Predicted before the first trial (2026-11-28), of differences in test error from no pre-training:
1. labels_2000: both are within 2 points.
2. labels_50000: the auto-encoder is better, by 0.3 to 2 points; the RBM is within 1 point.
3. The RBM does better beside none than with 200 updates, in either study; the auto-encoder within
   1 point of what it did there.
4. Each layer of either method gives back held-out images with a smaller error than after 200
   updates.
"""

from ml_collections import ConfigDict

from configs import pretraining

EPOCHS = {2000: 60.0, 50_000: 12.0}  # by the number of labels


def get_config() -> ConfigDict:
    config = pretraining.get_config()
    config.learning_rates = (0.0025, 0.005, 0.01, 0.02, 0.04)
    config.pretraining.steps = 2000
    config.fresh_seeds = (200, 201, 202, 203, 204)
    config.stacks_dir = "runs/pretraining_long/stacks"  # Both studies have the same ones.

    shorter = config.studies
    config.studies = ConfigDict(sort_keys=False)
    for labels, epochs in EPOCHS.items():
        study = shorter[f"labels_{labels}"].to_dict()
        study.pop("learning_rates")
        config.studies[f"labels_{labels}"] = {**study, "max_epochs": epochs}
    return config
