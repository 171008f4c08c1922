"""The one error a user can mend."""

import re


class InputError(Exception):
    """Something the user gave cannot be used; `message` says what, where and how to mend it.

    A command of `console.command` prints the message and exits with code 2, no traceback.
    Passwords in addresses are left out of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_password(message))

    @property
    def message(self) -> str:
        """The message."""
        return str(self)


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own error, or one of torch's, which has no name of its own on the CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


def without_password(text: str) -> str:
    """`text` with *** for the name and the password in each address (`https://me:word@host`)."""
    return re.sub(r"(\w:/{1,2})[^\s/?#]*@", r"\1***@", text)
