"""The page of one run: `python -m fgvedit.report RUN_DIR`; what it shows, and how it is used, is in docs/report.md."""
