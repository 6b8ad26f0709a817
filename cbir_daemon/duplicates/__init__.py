"""Which images are the same picture, which of them to keep, and what a plan to remove the others may do.

In: pairs, images, plans.  Out: groups; pairs and alerts committed; tasks for the journal.  Never here: how two vectors
are compared, who is told, touching a file of an album.

`keeping` has the rules for the one to keep, `groups` puts images together, `pairing` looks the copies of new contents
up in the background, `looks` compares the files of what is found, `parts` looks inside new files, `planning` holds
a plan against the index.
"""

from cbir_daemon.duplicates.groups import Group, Groups, Member, copy_groups, exact_groups
from cbir_daemon.duplicates.keeping import RULES, Folders, Keeping
from cbir_daemon.duplicates.looks import Looks
from cbir_daemon.duplicates.pairing import Pairing
from cbir_daemon.duplicates.parts import Parts
from cbir_daemon.duplicates.planning import planned

__all__ = [
    "RULES",
    "Folders",
    "Group",
    "Groups",
    "Keeping",
    "Looks",
    "Member",
    "Pairing",
    "Parts",
    "copy_groups",
    "exact_groups",
    "planned",
]
