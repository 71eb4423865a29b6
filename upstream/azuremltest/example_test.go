package azuremltest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"amlproxy/upstream/azuremltest"
)

func ExampleStart() {
	azure, err := azuremltest.Start(azuremltest.Options{Workspace: "team"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer azure.Close()
	model := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[151.0]") })
	diabetes, err := azure.AddService(azuremltest.Service{Name: "diabetes", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Somebody regenerates the key; from now on the server looks at it late.
	diabetes.RegenerateKey(azuremltest.Primary)
	diabetes.Behave(azuremltest.Behaviour{Refusal: azuremltest.ContinueThenRefuse})
	azure.Fail("listkeys service/diabetes", azuremltest.Fault{Status: 503, Times: 1})

	response, err := http.Post(diabetes.URL(), "application/json", strings.NewReader(`{"data": [[0]]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.Status, diabetes.Posts(), azure.WorkspaceName())
	// Output: 401 Unauthorized 0 team
}
