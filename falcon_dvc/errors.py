"""The exception that the command line shows as a single line."""


class UserError(Exception):
    """Invalid input of the user. The message names the file, argument or param, and the fix."""
