"""`python -m lmedge`: the same as `lmedge`."""

from .processes import leave_working_folder

leave_working_folder()  # before any other module is looked for

from .cli import main  # noqa: E402

main()
