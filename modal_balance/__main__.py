"""The command line: ``python -m modal_balance --help``."""

from __future__ import annotations

from .table.commands import main

if __name__ == "__main__":
    main(prog_name="modal-balance")
