"""A transfer rule that commits a share of the remaining masks."""

from dlmkit.plugins import hookimpl


@hookimpl
def dlmkit_components():
    """Offer the rule; the import is inside because it needs torch."""
    from dlmkit_share.share import Share

    return [Share]
