"""Routers, jobs, live figures and hosting."""

WORDS = {
    "GatewayJob": {"gateway": "The account it has to do with."},
    "ImportJob": {"customerImport": "The import it carries out; null when it was deleted."},
    "VoucherJob": {"batch": "The batch that it makes."},
    "Drift": {"expected": "What should be there; null: nothing.", "observed": "What is there; null: nothing."},
    "HostingAccount": {
        "customer": "Whose it is.",
        "server": "Where it is.",
        "username": "The name that the panel knows it by.",
    },
    "HostingPayload": {
        "account": "The account, as it stands now.",
        "server": "The server, as it stands now.",
    },
    "HostingProvisionInput": {"hosting": "What is to be made."},
    "HostingServer": {
        "baseUrl": "Where the panel is reached.",
        "lastCheckedAt": "When it was last asked; null: never.",
        "capacity": "How many accounts it has room for.",
    },
    "HostingServerUpdateInput": {
        "name": "Left out: stays as it is.",
        "baseUrl": "Where the panel is reached; left out: stays as it is.",
        "apiKey": "The key of its API; left out: stays as it is.",
        "apiSecret": "The secret that belongs to the key; left out: stays as it is.",
    },
    "HostingStats": {
        "domains": "How many domains; null: the panel does not say.",
        "databases": "How many databases; null: the panel does not say.",
        "emailAccounts": "How many mailboxes; null: the panel does not say.",
        "certificates": "How many certificates; null: the panel does not say.",
        "storageUsed": "In bytes; null: the panel does not say.",
        "accountAgeDays": "How many days ago it was made; null: the panel does not say.",
        "lastLogin": "When somebody last signed in, as the panel says it.",
        "readAt": "When the panel said so.",
    },
    "Job": {
        "kind": "What it does, such as `service.provision`.",
        "createdAt": "When it was promised.",
        "startedAt": "When a worker first took it; null before.",
        "attempts": "How often a worker took it.",
    },
    "LiveUsage": {
        "uploadBps": "Bits per second from the customer, over the same time.",
        "uploadBytes": "Bytes from the customer since the session began.",
        "source": "Who told of the figures.",
    },
    "NetworkJob": {
        "router": "The router it has to do with; null: none.",
        "steps": "Every exchange with the network, in order.",
    },
    "NetworkState": {
        "desiredVersion": "Counts what the network should hold.",
        "appliedVersion": "Up to which of these the network holds it.",
        "radius": "What RADIUS says to a login now.",
    },
    "NetworkStep": {
        "protocol": "How the network was spoken to.",
        "detail": "What it was about, for people to read.",
        "roundTripMs": "How long the answer took, in milliseconds; null without one.",
    },
    "RadiusAttribute": {
        "": "One attribute that RADIUS sends to a login, or checks.",
        "list": "Whether it is checked (`check`) or sent (`reply`).",
        "attribute": "Its name in the dictionaries.",
        "op": "The operator, as FreeRADIUS writes it.",
        "value": "The value; passwords are not told.",
    },
    "Router": {
        "apiPort": "The port of its API.",
        "apiTls": "Whether its API is spoken to by TLS.",
        "lastSeenAt": "When it last answered; null: never.",
        "version": "The version of RouterOS, as it says.",
        "board": "The model, as it says.",
        "nasIdentifier": "What it calls itself in RADIUS; null: whatever it likes.",
    },
    "RouterInput": {
        "apiPort": "The port of its API.",
        "apiTls": "Whether its API is spoken to by TLS.",
        "mode": "Where it finds out who may get on line.",
        "coaPort": "Where it listens for CoA and Disconnect.",
        "nasIdentifier": "What it calls itself in RADIUS; left out: whatever it likes.",
    },
    "RouterPayload": {"router": "The router, as it stands now."},
    "Credentials": {
        "password": "What the device logs in with.",
        "loginPassword": "What the customer signs in with; null: not made.",
    },
}
for _kind in (
    *("BillingJob", "BulkJob", "ExportJob", "GatewayJob", "GatewayPaymentJob", "GatewayRefundJob"),
    *("ImportJob", "NetworkJob", "StorageJob", "VoucherJob"),
):
    WORDS[_kind] = {**WORDS["Job"], **WORDS.get(_kind, {})}
