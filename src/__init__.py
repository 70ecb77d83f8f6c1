"""A laboratory for the claims of the AlexNet paper."""
