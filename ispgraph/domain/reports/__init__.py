"""Reports: what the books say of a stretch of time, or of a day. All amounts in minor units of the tenant's currency.

Everything is counted when it was booked: a void, a refund and a credit note in the period in which they happened, never
in that of what they take back. So a report of the past says the same for ever, and periods add up to the ledger.
"""
