"""Features and maps of encoders on the disk: dense arrays, or compressed sparse rows in tiles."""
