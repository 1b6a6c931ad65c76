"""The errors that a user can mend.

Everything raised on purpose for bad input or bad settings is a `UserError`: one line that says what is
wrong, in which file, and what to do. The command line prints that line and exits with code 2.
"""


class UserError(Exception):
    """Something in the input or the settings that the user can mend; the message is one line."""


class DataError(UserError):
    """An image, a label file or a data set that cannot be used as it is."""


class SettingError(UserError):
    """An option or configuration value that is unknown or outside its range."""


class RunError(UserError):
    """A run folder or checkpoint that is missing, of another kind, or would be overwritten."""
