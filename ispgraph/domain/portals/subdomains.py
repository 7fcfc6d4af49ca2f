"""Which names a portal may have: labels of DNS that nobody takes for something else. Pure."""

import re

from ispgraph.domain.values import Unfit

SHORTEST, LONGEST = 3, 63

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_WORDS = """
abuse account accounts admin administrator api app apps assets auth autoconfig autodiscover autodiscovery backup
billing blog broadcasthost cdn checkout clients console control cpanel customer customers dashboard database demo
dev devel developer developers dns docs download downloads email files forum ftp git graphql healthz help helpdesk
hostmaster hotspot imap info internal invalid invoice invoices ipv4 ipv6 isatap ispgraph jobs local localdomain
localhost login logout mail mailer manage manager metrics mobile monitor monitoring network noc none noreply null
operator operators pay payment payments pop pop3 portal portals postmaster preview private prod production proxy
public radius register relay root router routers secure security server sign-in sign-up signin signup sip smtp sso
staff stage staging static stats status support sysadmin system test testing tickets tls undefined update updates
upload uploads usenet user users vpn wallet web webdisk webhook webhooks webmail webmaster websocket whm whois
wiki wpad www
"""
RESERVED = frozenset(_WORDS.split())
"""Names of hosts that installations have, that mail and browsers look for by themselves, or that sound like the ISP."""
# With a number behind it too.
_NUMBERED = re.compile(r"(?:www|ns|dns|mx|mail|smtp|imap|pop|ftp|api|cdn|web|vpn|node|host|server|radius|router)-?\d*")


def subdomain(raw: str) -> str:
    """A label in lower case. Raises Unfit for what is none, for punycode, and for what is reserved."""
    found = raw.strip().lower()
    if not found.isascii():
        raise Unfit("A subdomain is written with a to z, 0 to 9 and -; letters of other alphabets are not taken.")
    if not SHORTEST <= len(found) <= LONGEST or not _LABEL.fullmatch(found):
        raise Unfit(
            f"A subdomain has {SHORTEST} to {LONGEST} of these characters: a-z 0-9 -; at its ends is no hyphen."
        )
    if found[2:4] == "--":
        raise Unfit("A subdomain has no two hyphens in its third and fourth place: that is how other alphabets hide.")
    if found.replace("-", "").isdigit():
        raise Unfit("A subdomain is not made of digits alone.")
    if _looks_reserved(found):
        raise Unfit("This subdomain is reserved. Choose another one.")
    return found


def lookalike(label: str) -> str:
    """What a label looks like at a glance: the same for two that people would take for one another."""
    return label.replace("rn", "m").replace("vv", "w").replace("cl", "d").translate(_ALIKE)


_ALIKE = str.maketrans("01", "ol")
# Digits that spell words.
_SPELLING = str.maketrans("0134578", "oleastb")


def _looks_reserved(label: str) -> bool:
    # `l` and `i` are the two readings of a 1.
    readings = (label, lookalike(label), label.translate(_SPELLING), label.replace("1", "i").translate(_SPELLING))
    plain = {reading.replace("-", "") for reading in readings}
    return bool(plain & _RESERVED_PLAIN) or any(_NUMBERED.fullmatch(reading) for reading in (label, *plain))


_RESERVED_PLAIN = {word.replace("-", "") for word in RESERVED} | {lookalike(word) for word in RESERVED}
