"""The gradient audit: is the gradient of this GAN right, and if not, what is wrong?"""

from gan_gradflow.audit.catalogue import CATALOGUE, Severity
from gan_gradflow.audit.findings import Finding
from gan_gradflow.audit.loop import audit
from gan_gradflow.audit.report import AuditReport, Table

__all__ = ["CATALOGUE", "AuditReport", "Finding", "Severity", "Table", "audit"]
