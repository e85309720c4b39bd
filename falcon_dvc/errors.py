"""The one exception that the command line shows as a single line."""


class UserError(Exception):
    """Bad input of the user: the message names the file, argument or param, and the fix."""
