"""`python -m gan_gradflow` is `gan-gradflow`."""

from gan_gradflow.cli import main

main()
