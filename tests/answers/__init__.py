"""Whether two installations give the same answers.

Each installation is driven by its commands and its socket only, never by imports, so that a release can be compared
with one whose modules have other names:

    python -m tests.answers OLD/.venv/bin NEW/.venv/bin ALBUM

`home` makes the folders that each is run on, `script` says what is asked, `recording` keeps what is answered,
`comparison` says where two recordings differ.
"""
