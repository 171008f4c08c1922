"""The one error a user can mend."""

import click


class InputError(click.ClickException):
    """Something the user gave cannot be used; the message says what, where and how to mend it.

    Raised inside any Typer command it prints the message and exits with code 2, no traceback.
    """

    exit_code = 2
