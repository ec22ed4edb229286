"""A run: its folder, what identifies it, its chunks, and how a record is probed before and after its edit."""
