"""From records to numbers: times, differences, groups of arms, the paper's curves."""
