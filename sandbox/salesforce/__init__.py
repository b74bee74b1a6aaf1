"""A Salesforce org to practise on: its REST, SOAP login, Tooling and Metadata doors over rows in SQLite.

Field facts of six objects derive from recorded responses, the others are written (`facts/`). Error bodies are the
vendor's where a source gives them. Not settled by any source, and so our reading:

- A record that cannot be read at all (unknown field, wrong JSON type) refuses a whole Collections call with 400.
- Missing records answer PATCH and DELETE with 404 INVALID_CROSS_REFERENCE_KEY, deleted ones with 404 ENTITY_IS_DELETED.
- The texts of 405, 410, 412, 414, 415, 431, LIMIT_EXCEEDED, the Tooling refusal, and of a lead's task with WhatId.
- An open task leaves its person alone; a closed one or an event moves LastActivityDate and SystemModstamp.
- Dates that the org sets (ConvertedDate, FirstRespondedDate, an event's ActivityDate) are the acting user's local ones.
- A converted lead's campaign members keep LeadId, and gain ContactId unless the contact is a member already.
- Deleting a campaign member is soft here. Permission sets, statuses and users have no recycle bin.

Not here: Bulk API, SOSL, composite graph, record types, duplicate and validation rules (order them with
`POST /__sandbox__/row_faults`), OPERATION_TOO_LARGE on activities, XML bodies, the authorization-code flow.
"""

from sandbox.salesforce.app import Salesforce
from sandbox.salesforce.options import SalesforceOptions

__all__ = ["Salesforce", "SalesforceOptions"]
