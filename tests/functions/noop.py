"""Does nothing."""


def faasm_main():
    pass
