"""Companies: one key per buyer, and the normal forms of names, domains and numbers."""

from core.companies.forms import core_name, corporate_number, is_free_mail, is_site, mail_domain, web_domain
from core.companies.resolve import CompanyInput, account_company, company_evidence, record_company, resolve_companies

__all__ = [
    "CompanyInput",
    "account_company",
    "company_evidence",
    "core_name",
    "corporate_number",
    "is_free_mail",
    "is_site",
    "mail_domain",
    "record_company",
    "resolve_companies",
    "web_domain",
]
