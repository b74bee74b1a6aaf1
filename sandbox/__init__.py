"""CRMs to practise on: HTTP emulators of Salesforce and HubSpot, and a seeded market. Imports nothing of ours."""
