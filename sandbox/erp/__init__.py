"""The ERP system's side: SAP S/4HANA's sales order service, OData version 2.

Public documentation: odata.org/documentation/odata-version-2-0, and API_SALES_ORDER_SRV on SAP's Business Accelerator
Hub.
"""
