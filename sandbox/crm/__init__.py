"""The CRM, as Salesforce's REST API: OAuth 2 client credentials, SOQL over accounts and contacts, describe, write-back.

Public documentation: developer.salesforce.com, "REST API Developer Guide" and "SOQL and SOSL Reference".
"""
