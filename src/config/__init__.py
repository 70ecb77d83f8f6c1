"""Which studies there are and which arms they have: fields, checks, arms, flags."""
