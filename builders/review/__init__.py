"""People review records: a page on which they mark what is right and wrong, and what becomes of their marks."""
