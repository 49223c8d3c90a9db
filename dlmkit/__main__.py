"""`python -m dlmkit`: the command line."""

from dlmkit.cli.main import main

main(prog_name="dlmkit")
