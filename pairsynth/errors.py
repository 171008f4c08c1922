"""The one error a user can mend."""


class InputError(Exception):
    """Something the user gave cannot be used; `message` says what, where and how to mend it.

    A command of `console.command` prints the message and exits with code 2, no traceback.
    """

    @property
    def message(self) -> str:
        """The message."""
        return str(self)
