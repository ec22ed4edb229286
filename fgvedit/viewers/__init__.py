"""What a person sees: the page of a run, the demo, and what pages share."""
