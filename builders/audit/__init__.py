"""What of a data set can be had without looking: known shortcuts, measured, and a verdict for each metric."""
