"""The leaderboard as pages that need no server: `python -m leaderboard.site`."""
