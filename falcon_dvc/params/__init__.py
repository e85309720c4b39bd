"""The params: schema, reading, and the constants of the released code."""
