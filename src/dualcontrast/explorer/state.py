"""What one window shows; written into its address, so that the address brings the same view back."""

import param

from dualcontrast.explorer.places import PRINCIPAL

TABS = ("particle", "mix", "classes", "selections", "health")
MOST_PICKED = 8
# What the address calls the choices.
ADDRESS = {
    "content_map": "c",
    "transformation_map": "z",
    "content_range": "cview",
    "transformation_range": "zview",
    "colour": "colour",
    "tab": "tab",
    "dark": "dark",
    "particle": "particle",
    "first": "a",
    "second": "b",
}


class State(param.Parameterized):
    """The choices of one window; rows are places in `codes.npz`, -1 for none."""

    content_map = param.String(PRINCIPAL, doc="How content codes are placed.")
    transformation_map = param.String(PRINCIPAL, doc="How transformation codes are placed.")
    content_range = param.String("", doc="What is in view: left, right, bottom, top; all of it where empty.")
    transformation_range = param.String("", doc="The same of the transformation.")
    colour = param.String("", doc="Title of the column that colours the points.")
    tab = param.String(TABS[0], doc="The panel on the right.")
    dark = param.Boolean(False, doc="Light text on dark.")
    particle = param.String("", doc="Id of the particle that is open.")
    first = param.String("", doc="Id of particle A of the mix.")
    second = param.String("", doc="Id of particle B of the mix.")
    picked = param.List([], item_type=str, doc="Ids of the particles of the transfer grid.")
