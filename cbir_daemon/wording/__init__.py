"""What is said to people, wherever it is said: counts, and what was done to a picture.

In: values.  Out: text.  Never here: how something was found, what a terminal can show.
"""
