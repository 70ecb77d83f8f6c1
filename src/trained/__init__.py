"""What a trained network shows: kernels, likely classes, nearest training images."""
