"""What of a data set can be had without looking: every shortcut that is known, measured, and a verdict for each metric."""
