"""What a person looks at: the page of a run, the demo, and what pages share."""
