"""Counts, in the input, what text has to count, and gives it back upside down."""

import unicodedata


def faasm_main(data):
    text = data.decode()
    print(text)
    folded = unicodedata.normalize("NFD", text)
    marks = sum(unicodedata.combining(character) > 0 for character in folded)
    return f"{len(data)} bytes, {len(text)} characters, {marks} marks: {text[::-1]}"
