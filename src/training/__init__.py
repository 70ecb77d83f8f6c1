"""One trial: the step, the program around it, its checkpoints and its loop."""
