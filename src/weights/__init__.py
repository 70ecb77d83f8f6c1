"""Published weights: files of other programs in, parameters of our networks out."""
