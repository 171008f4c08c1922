"""The error for mistakes that a user can correct."""

import errno
import re

# What torch, the loader of shared libraries, Python and Arrow say.
OUT_OF_MEMORY = (
    "can't allocate memory",
    "failed to map segment",
    "can't start new thread",
    "Failed to launch worker thread",
)
# All that oneDNN says where it has no room for a kernel's code; of a kernel that it lacks more.
NO_KERNEL = "could not create a primitive"


class InputError(Exception):
    """An input cannot be used; `message` says what, where and how to correct it.

    A command of `console.command` prints the message and exits with code 2, no traceback.
    Passwords in addresses are removed from it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_password(message))

    @property
    def message(self) -> str:
        """The message."""
        return str(self)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, the system or a library means that memory ran out."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if named or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return str(error) == NO_KERNEL or any(words in str(error) for words in OUT_OF_MEMORY)


def raise_if_out_of_memory(error: BaseException) -> None:
    """Re-raise an out-of-memory error, which says nothing about the data that was being read."""
    if is_out_of_memory(error):
        raise error


def without_password(text: str) -> str:
    """`text` with *** instead of user and password in each address (`https://me:word@host`)."""
    return re.sub(r"(\w:/{1,2})[^\s/?#]*@", r"\1***@", text)
