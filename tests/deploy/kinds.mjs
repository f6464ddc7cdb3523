// Judges Kubernetes resources, a JSON array on standard input, of the kinds that KEDA and the External Secrets Operator
// define. Prints what is wrong, as a JSON array of sentences.
import { ExternalSecret } from "@kubernetes-models/external-secrets/external-secrets.io/v1/ExternalSecret";
import { ScaledJob } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledJob";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { TriggerAuthentication } from "@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication";

const kinds = { ExternalSecret, ScaledJob, ScaledObject, TriggerAuthentication };
let text = "";
for await (const part of process.stdin) text += part;
const wrong = [];
for (const resource of JSON.parse(text)) {
  try {
    new kinds[resource.kind](resource).validate();
  } catch (error) {
    wrong.push(`${resource.kind} ${resource.metadata.name}: ${error.message}`);
  }
}
console.log(JSON.stringify(wrong));
