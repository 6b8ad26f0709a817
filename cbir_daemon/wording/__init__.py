"""Words for people, wherever they are said: counts, and the edits of a picture.

In: values.  Out: text.  Never here: how something was found, what a terminal can show.
"""
