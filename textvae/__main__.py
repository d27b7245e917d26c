"""The program as a module: ``python -m textvae``, and ``torchrun -m textvae`` for several processes."""

from textvae.cli import main

if __name__ == "__main__":
    main()
