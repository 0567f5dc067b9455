"""Every item of a catalog in one photo, with its place.

    places = find_places(picture, photo, box)     # each place of one catalog picture in a photo: repeats are found each
    kept = settle(candidates)                     # of several products at one place, the one that looks most alike

Printed packages are flat pictures, whose points are found again (`retrieval.verification`). A shelf holds the same
package many times: points vote for where its middle lies, how large and how turned it is, and each heap of votes is one
item.
"""
