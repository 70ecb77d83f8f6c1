"""The benchmark's tables, and its PyTorch networks."""

import io
import json
import math
from collections import Counter

import jax
import jax.numpy as jnp
import pytest

from experiments.pretraining import bench as pretraining
from experiments.pretraining.bench import KINDS, LAYERS
from experiments.speed import accelerator, bench, measure, tables
from src import models

pytestmark = pytest.mark.usefixtures("compiled_alike")

FOUND = {
    "milliseconds": {"scan": [50.0, 60.0, 90.0], "loop": [64.0] * 3, "torch": [100.0, 80.0, 90.0]},
    "compile_seconds": 3.0,
    "torch_compiled_missing": "RuntimeError",
}


def test_a_ratio_is_of_the_same_round():
    # 50/100, 60/80, 90/90; the ratio of the medians would be 60/90.
    assert tables.ratio(FOUND["milliseconds"], "scan") == "0.75 (0.50 to 1.00)"


def test_a_gpus_table_has_medians_of_the_ways_that_were_measured():
    facts = {"device": "1 x H", "jax_version": "1", "python": "3", "commit": "c"}
    steps = {"conv3": {"milliseconds": {"scan": [0.1, 0.2, 0.9], "torch": [0.3]}}}
    several = {"conv3": {"milliseconds": {"1": [0.2], "2": [0.4, 0.5, 0.9]}}}
    text = tables.accelerator({"provenance": facts, "steps": steps, "together": several})
    assert "| `conv3` | 0.200 | 0.300 |" in text
    assert "| `conv3` | 0.200 | 0.500 |" in text
    assert "compiled" not in text


def test_a_gpus_benchmark_knows_the_networks_that_it_times(capsys):
    assert accelerator.main(["no_such@0.5"]) == 2
    assert "no_such is not timed; known: alexnet, " in capsys.readouterr().err


def test_steps_says_what_was_not_measured_and_why():
    text = tables.steps("Title", FOUND, {"conv3 torch": {"peak_mb": 512.4}}, "conv3")
    assert "| PyTorch, compiled | not measured: RuntimeError |" in text
    assert "| PyTorch, channels last | 90.0 | 1422 |  | 512 |" in text  # 128 images in 90 ms


def test_a_step_of_pretraining_stands_beside_its_multiply_adds():
    """A step of 5 ms, where the supervised takes 10 and has four times as many: twice its share.

    Sixteen products of half a millisecond have as many as the supervised step.
    """
    kinds = [f"{method}, {units}, {layer}" for method, units in KINDS for layer in LAYERS]
    times = {"supervised": [9.0, 10.0, 40.0], "product": [0.4, 0.5, 0.9]}
    times |= {kind: [5.0] * 3 for kind in kinds} | {"torch, conv1": [7.5] * 3}
    facts = {"device": "1 x cpu", "jax_version": "1", "commit": "c"}
    record = {
        "milliseconds": times,
        "by_multiply_adds": dict.fromkeys(LAYERS, 0.25),
        "products_of_supervised": 16.0,
    }
    text = pretraining.render({**record, "provenance": facts})
    assert "| conv_rbm, tanh | conv2 | 5 | 0.50 | 0.25 | 2.00 |" in text
    assert "| conv_rbm, tanh | all three | 15 | 1.50 | 0.75 | 2.00 |" in text
    assert "| the same in PyTorch | conv1 | 8 | 0.75 | 0.25 | 3.00 |" in text
    assert "its five convolutions alone" not in text
    assert "every ratio would be 0.80." in text


def test_without_pytorch_there_is_no_ratio():
    alone = {"milliseconds": {"scan": [64.0], "loop": [64.0]}, "compile_seconds": 1.0}
    text = tables.steps("Title", alone, {}, "conv3")
    assert "| ours, many steps in one scan | 64.0 | 2000 |  |  |" in text
    assert "| PyTorch, channels last | not measured: not installed |" in text


def test_what_measuring_costs_a_step_and_a_study():
    record = {
        "recording": {"milliseconds": {"with": [11.0, 20.2], "without": [10.0, 20.0]}},
        "evaluate": {"seconds": {"evaluate": 1.0, "save": 0.5}},
        "study": {"study": "quick", "trials": 3, "train": 200.0, "measure": 3.0, "save": 1.0},
    }
    costs = dict(tables.measuring(record))
    assert costs["online training error, of a step"] == "+5.5%"  # between 10% and 1%
    assert costs["both, in the 3 trials of quick"] == "2.0% of training"


def test_images_in_work_at_once_stand_side_by_side():
    found = {"8": [12.0, 10.0, 11.0], "128": [20.0, 20.4, 30.0]}
    rows = tables.in_parts({"conv3": {"milliseconds": found}})
    assert rows == [("", "8", "all 128"), ("`conv3`", "11", "20")]


def test_best_against_best_takes_the_fastest_way_of_each():
    record = {
        "compare": {
            "a": {"milliseconds": {"scan": [50.0], "torch": [90.0], "torch_compiled": [80.0]}},
            "b": {"milliseconds": {"scan": [30.0], "loop": [20.0]}},
        },
        "devices": {"a": {"milliseconds": {"scan": [40.0, 60.0, 40.0], "torch": [70.0, 81.0]}}},
    }
    _, a, b = tables.best_against_best(record)
    assert a == ("`a`", "40.0", "75.5", "0.53")
    assert b == ("`b`", "20.0", "not measured", "")


def test_rounds_are_interleaved_and_the_first_does_not_count():
    calls = []
    steps = {key: lambda count, key=key: calls.append((key, count)) for key in "ab"}
    found = measure.interleave(steps, 2, 5)
    assert calls == [("a", 5), ("b", 5)] * 3
    assert [len(times) for times in found.values()] == [2, 2]


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 3), (39.0, 3), (40.0, 4), (math.inf, 7)])
def test_rounds_end_when_their_time_is_up_but_three_are_measured(monkeypatch, seconds, rounds):
    """Each round takes 10 seconds, the first, which is not counted, too."""
    now = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    step = lambda count: now.__setitem__(0, now[0] + count)  # noqa: E731
    found = measure.interleave({"scan": step}, 7, 10, seconds)
    assert found == {"scan": [1000.0] * rounds}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({net.partition("@")[0] for net in bench.NETWORKS}))
def test_pytorchs_nets_have_the_parameters_of_ours(name):
    """Layer by layer; the largest nets an eighth as wide, for their shapes are the same."""
    pytest.importorskip("torch")
    from experiments.speed import torch_nets  # noqa: PLC0415

    net = measure.Net.parse(name)
    wide = net.name.startswith(("alexnet", "vgg", "googlenet"))
    net = net._replace(width=0.125 if wide else 1.0)
    theirs = torch_nets.make_net(net.name, net.width, net.size).parameters()
    model = models.make_model(
        net.name, activation="relu", init_scheme="modern", num_classes=10, **net.options()
    )
    images = jax.ShapeDtypeStruct((1, net.size, net.size, 3), jnp.float32)
    layers = jax.eval_shape(model.init, jax.random.key(0), images)["params"].values()
    ours = Counter(sum(math.prod(leaf.shape) for leaf in layer.values()) for layer in layers)
    weights = [p.numel() for p in theirs]
    pairs = Counter(w + b for w, b in zip(weights[::2], weights[1::2], strict=True))
    assert pairs == ours


def test_the_arithmetic_of_a_step_by_hand():
    # conv3: 32 x 32 places x 75 x 32, 16 x 16 x 800 x 32, 8 x 8 x 800 x 64, 1024 x 10; the images
    # take no gradient.
    first = 32 * 32 * 75 * 32
    others = 16 * 16 * 800 * 32 + 8 * 8 * 800 * 64 + 1024 * 10
    expected = 2 * 128 * (2 * first + 3 * others) / 1e9
    assert measure.Net.parse("conv3").gflop() == pytest.approx(expected)


def test_a_network_stands_beside_pytorchs_and_the_machines_peak():
    way = {
        "milliseconds": {"scan": [50.0, 60.0, 90.0], "torch": [100.0, 80.0, 90.0]},
        "gflop": 6.0,
        "peak_gflops": 200.0,
        "load": [0.5, 1.25],
    }
    alone = {**way, "milliseconds": {"scan": [40.0]}, "load": [1.0, 3.0]}
    memory = {"ours": {"peak_mb": 301.6}, "torch": {}}
    found = {"one": way, "all": alone, "memory": memory, "commit": "0123abc"}
    _, row = tables.networks({"vgg11_cifar@0.125": found}, 2)
    assert row[0] == "`vgg11_cifar`, 0.125 as wide"
    assert row[1:5] == ("60.0", "90.0", "0.75 (0.50 to 1.00)", "50%")  # 6 / 0.06 s = 100 of 200
    assert row[5:9] == ("40.0", "not measured", "", "38%")  # 150 of twice 200
    assert row[9:] == ("302", "", "0.5 to 3.0", "0123abc")


def test_one_network_measured_again_leaves_the_rows_of_the_others(tmp_path, monkeypatch):
    for name in ("record.json", "README.md"):
        (tmp_path / name).write_text((bench.HERE / name).read_text())
    old = json.loads(bench.RECORD.read_text())
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "RECORD", tmp_path / "record.json")
    same = f"{old['cores']} x {old['provenance']['processor']}"
    monkeypatch.setattr(bench, "this_machine", lambda: same)
    found = {net: {**row, "commit": "0123abc"} for net, row in old["networks"].items()}
    monkeypatch.setattr(bench, "measure_networks", lambda nets, *_: {n: found[n] for n in nets})
    bench.main(["vgg16_cifar"])
    new = json.loads((tmp_path / "record.json").read_text())
    renewed = {net for net, row in new["networks"].items() if row["commit"] == "0123abc"}
    assert renewed == {"vgg16_cifar", "vgg16_cifar@0.125"}
    assert {**new, "networks": 0} == {**old, "networks": 0}
    assert list(new["networks"]) == list(old["networks"])
    assert (tmp_path / "README.md").read_text().count("| 0123abc |") == 2
    monkeypatch.setattr(bench, "this_machine", lambda: "3 x another processor")
    bench.main(["lenet5"])
    newest = json.loads((tmp_path / "record.json").read_text())
    assert newest["networks"] == new["networks"]
    assert newest["elsewhere"]["3 x another processor"] == {"lenet5": found["lenet5"]}
    bench.main(["conv3"])
    newest = json.loads((tmp_path / "record.json").read_text())
    assert list(newest["elsewhere"]["3 x another processor"]) == ["conv3", "lenet5"]
    assert "### Elsewhere: 3 x another processor\n\n" in (tmp_path / "README.md").read_text()


def test_what_is_measured_is_kept_if_the_benchmark_is_stopped(tmp_path, monkeypatch):
    (tmp_path / "record.json").write_text(bench.RECORD.read_text())
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(bench, "this_machine", lambda: "3 x another processor")
    row = json.loads(bench.RECORD.read_text())["networks"]["lenet5"]

    def measure_networks(nets, *_):
        if "vgg16_cifar" in nets:
            raise KeyboardInterrupt
        return dict.fromkeys(nets, row)

    monkeypatch.setattr(bench, "measure_networks", measure_networks)
    with pytest.raises(KeyboardInterrupt):
        bench.main(["vgg16_cifar", "lenet5"])
    kept = json.loads(bench.RECORD.read_text())["elsewhere"]["3 x another processor"]
    assert kept == {"lenet5": row}


def test_a_whole_benchmark_keeps_the_rows_of_other_machines(tmp_path, monkeypatch):
    (tmp_path / "record.json").write_text(bench.RECORD.read_text())
    old = json.loads(bench.RECORD.read_text())
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "RECORD", tmp_path / "record.json")
    first = bench.tables.machine(old["cores"], old["provenance"])
    for here, others in (
        ("3 x another processor", {first, *old["elsewhere"]}),
        (first, {*old["elsewhere"]}),
    ):
        bench.RECORD.write_text(json.dumps(old))
        monkeypatch.setattr(bench, "this_machine", lambda here=here: here)
        monkeypatch.setattr(bench, "measure_all", lambda quick: {**old, "networks": {}})
        bench.main([])
        kept = json.loads(bench.RECORD.read_text())["elsewhere"]
        rows = {**old["elsewhere"], first: old["networks"]}
        assert kept == {name: rows[name] for name in others}


def test_an_unknown_network_is_refused_in_one_line():
    with pytest.raises(SystemExit, match="NET = vgg12 is not timed; known: conv3"):
        bench.main(["vgg12"])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["recording", "together", "alone"])
def test_the_trainers_own_functions_can_be_timed(what, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    times = measure.MEASUREMENTS[what]("lenet5_modern", 2, 1)["milliseconds"]
    assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in times.values())
