"""What every room needs: errors, files, hashes, the hub, plug-ins."""
