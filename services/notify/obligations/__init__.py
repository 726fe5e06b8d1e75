"""What is owed to whom by when: regimes as data, clocks as facts, arithmetic that explains itself.

Read in this order: `calendars`, `deadlines`, `holds`, `conditions`, `regimes`, `identify`; `book`
keeps the results, `preview` answers for facts that no incident has.
"""
