package azureml_test

import (
	"context"
	"fmt"
	"net/http"

	"amlproxy/upstream/azureml"
)

// The identity is what azidentity's default chain finds: the environment, a
// workload or managed identity, or who is signed in to az.
func ExampleNew() {
	workspace, err := azureml.New(azureml.Config{
		SubscriptionID: "00000000-0000-0000-0000-000000000000",
		ResourceGroup:  "models",
		Workspace:      "production",
		Client:         http.DefaultClient,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = workspace.Close() }()

	source := workspace.Service("..", azureml.Auto) // a mistake: no service has this name
	_, err = source.Fetch(context.Background(), nil)
	fmt.Println(err)
	// Output: the service ".." cannot be a name in Azure
}

func ExampleParseConfig() {
	location, err := azureml.ParseConfig("config.json", []byte(`{"subscription_id": "sub", "resource_group": "models", "workspace_name": "production"}`))
	fmt.Println(location.Workspace, err)
	// Output: production <nil>
}
