"""The errors that a user can mend.

Everything raised on purpose for bad input or bad settings is a `UserError`: one line that says what is
wrong, in which file, and what to do. The command line prints that line and exits with code 2.
"""

MOST_CHARACTERS = 900


class UserError(Exception):
    """Something in the input or the settings that the user can mend; the message is one line.

    Names from files stand in messages, and messages on terminals: whatever a name holds, the line stays one
    line, of characters that only show.
    """

    def __str__(self) -> str:
        line = " ".join(super().__str__().split())
        if not line.isprintable():
            line = "".join(
                character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
                for character in line
            )
        if len(line) > MOST_CHARACTERS:
            line = f"{line[: MOST_CHARACTERS // 2]} … {line[-MOST_CHARACTERS // 2 :]}"
        return line


class DataError(UserError):
    """An image, a label file or a data set that cannot be used as it is."""


class SettingError(UserError):
    """An option or configuration value that is unknown or outside its range."""


class RunError(UserError):
    """A run folder or checkpoint that is missing, of another kind, or would be overwritten."""


class LostRankError(RunError):
    """Another process of this training is gone, so that this one cannot go on."""
